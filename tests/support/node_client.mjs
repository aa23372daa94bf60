// node node_client.mjs URL CODE REASON < messages.json
// Sends each message after the echo of the one before, closes, and prints what it saw as JSON. The client is Node's own,
// or the package "ws" of the folder that WS_FOLDER names.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const folder = process.env.WS_FOLDER;
const Client = folder ? createRequire(`${folder}/`)("ws") : globalThis.WebSocket;
const [url, code, reason] = process.argv.slice(2);
const messages = JSON.parse(await text(process.stdin));
const echoes = [];
const socket = new Client(url);

const next = () => (echoes.length < messages.length ? socket.send(messages[echoes.length]) : socket.close(Number(code), reason));
socket.addEventListener("open", next);
socket.addEventListener("message", ({ data }) => {
  echoes.push(data);
  next();
});
socket.addEventListener("error", ({ message }) => console.error(`error: ${message}`));
socket.addEventListener("close", ({ code, reason, wasClean }) => {
  console.log(JSON.stringify({ echoes, code, reason, clean: wasClean, extensions: socket.extensions }));
});
