// Node, at the port that is its argument.
import http from "node:http";

http
  .createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      const saw = [request.method, request.url, Buffer.concat(pieces).toString("base64"), ""];
      response.setHeader("X-Saw", Buffer.from(JSON.stringify(saw)).toString("base64"));
      response.setHeader("Content-Length", "0");
      response.end();
    });
    request.on("error", () => {});
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
