"use strict";
/* A client that stays: it comes back after every loss, hands its position back, and says whether it has missed anything.

     const client = new ChannelClient("/ws?room=lobby", { events: "/events?room=lobby", post: "/say?room=lobby" });
     client.addEventListener("message", ({ detail }) => show(detail.data));
     client.addEventListener("caughtup", () => note("caught up"));
     client.addEventListener("gap", () => note("messages may be missing"));
     client.addEventListener("state", ({ detail }) => note(detail.state));
     client.send("hello");

   By WebSocket each message is JSON: {"event": TYPE, "data": …, "id": POSITION}. By Server-Sent Events, for networks
   where WebSockets fail, an event has the same three in its own fields, its data in JSON. examples/chat.py sends both.

   Some types are the client's own: "recovered" (all that was missed has come), "gap" (messages may be missing here), and
   "pong", the answer to the pings by which it sees that a connection is dead, and how long a round trip takes. */

class ChannelClient extends EventTarget {
  /** @param {string} url Where WebSockets go, relative to the page. The position goes with it as `lastEventId`.
   *  @param {object} options
   *    events, post: where to listen by Server-Sent Events, and where to POST what is sent then; without them no fallback
   *    types: further types of events to listen for, besides "message"
   *    shortest, longest: bounds of the pause before it comes back, in milliseconds; it doubles with each failure
   *    pingEvery, pongWithin: milliseconds of silence before a ping, and for its answer
   *    triesByWebSocket: how often a WebSocket may fail to open before Server-Sent Events are tried */
  constructor(url, options = {}) {
    super();
    this.url = url;
    this.options = {
      events: null, post: null, types: [], shortest: 500, longest: 15000, pingEvery: 10000, pongWithin: 5000,
      triesByWebSocket: 2, ...options,
    };
    this.position = null; // of the last message that has come
    this.state = "idle"; // then "connecting", "open", "waiting", "closed"
    this.transport = null; // "websocket" or "events", while it is open
    this.latency = null; // milliseconds of the last round trip
    this._failures = 0; // since it was open last
    this._wasOpen = false;
    this._unopened = 0; // WebSockets in a row that never opened
    this._connection = null;
    this._timers = {};
    this._online = () => { if (this.state === "waiting") this.connect(); };
    addEventListener("online", this._online);
    this.connect();
  }

  /** Connect now; without effect while it is connected. */
  connect() {
    if (this._connection || this.state === "closed") return;
    clearTimeout(this._timers.retry);
    const byEvents = this.options.events && this._unopened >= this.options.triesByWebSocket;
    this._change("connecting");
    const Transport = byEvents ? EventsTransport : WebSocketTransport;
    const connection = this._connection = new Transport(this, this._address(byEvents ? this.options.events : this.url));
    // A network that swallows packets does not even refuse.
    this._timers.open = setTimeout(() => connection.fail("no answer"), this.options.pongWithin * 2);
  }

  /** Send text; false when it is not connected, and nothing was sent. */
  send(text) {
    if (this.state !== "open") return false;
    this._connection.send(text);
    return true;
  }

  /** End it for good. */
  close() {
    removeEventListener("online", this._online);
    const connection = this._connection;
    this._connection = null;
    this._stopTimers();
    if (connection) connection.close();
    this._change("closed");
  }

  _address(path) {
    const address = new URL(path, location.href);
    if (this.position !== null) address.searchParams.set("lastEventId", this.position);
    return address;
  }

  _change(state, why = "") {
    this.state = state;
    if (state !== "open") this.transport = null;
    this._emit("state", { state, why, transport: this.transport });
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  _stopTimers() {
    for (const timer of Object.values(this._timers)) clearTimeout(timer);
  }

  // What a transport tells; a former one is not listened to any more.

  _opened(connection) {
    if (connection !== this._connection) return;
    clearTimeout(this._timers.open);
    this._failures = 0;
    if (connection.name === "websocket") this._unopened = 0;
    this.transport = connection.name;
    const wasOpen = this._wasOpen;
    this._wasOpen = true;
    this._change("open");
    if (wasOpen && this.position === null) this._emit("gap", {}); // without a position it cannot ask for what it has missed
    this._ping(); // the first tells the latency
  }

  _came(connection, { event = "message", data = null, id = null }) {
    if (connection !== this._connection) return;
    this._heardAt = performance.now();
    // What is no message tells where to begin; messages that came before it are further on.
    if (id && (event === "message" || this.position === null)) this.position = id;
    if (event === "pong") this._ponged();
    else if (event === "recovered") this._emit("caughtup", {});
    else this._emit(event, { event, data, id });
  }

  _lost(connection, why) {
    if (connection !== this._connection) return;
    this._connection = null;
    this._stopTimers();
    const { triesByWebSocket } = this.options;
    if (this.state !== "connecting") { // what worked is tried first again
      if (connection.name === "websocket") this._unopened = 0;
    } else if (connection.name === "websocket") this._unopened++;
    else this._unopened = triesByWebSocket - 1; // the two take turns
    // Many clients lose a server at the same time: they should not all be back at once.
    const most = Math.min(this.options.longest, this.options.shortest * 2 ** this._failures++);
    const pause = most * (0.5 + Math.random() / 2);
    this._timers.retry = setTimeout(() => this.connect(), pause);
    this._change("waiting", why);
  }

  // A browser's WebSocket tells neither of pings nor of a network that is gone, so the client asks.

  _ping() {
    const connection = this._connection;
    if (!connection.canPing) return;
    this._pingedAt = performance.now();
    connection.ping();
    clearTimeout(this._timers.pong);
    this._timers.pong = setTimeout(() => {
      if (this._heardAt >= this._pingedAt) this._pingLater(); // busy, not dead
      else connection.fail("no answer to a ping");
    }, this.options.pongWithin);
  }

  _ponged() {
    clearTimeout(this._timers.pong);
    this.latency = performance.now() - this._pingedAt;
    this._emit("latency", { milliseconds: this.latency });
    this._pingLater();
  }

  _pingLater() {
    clearTimeout(this._timers.ping);
    this._timers.ping = setTimeout(() => this._ping(), this.options.pingEvery);
  }
}

class WebSocketTransport {
  constructor(client, address) {
    this.name = "websocket";
    this.canPing = true;
    this._client = client;
    address.protocol = address.protocol.replace(/^http/, "ws");
    const socket = this._socket = new WebSocket(address);
    socket.onopen = () => client._opened(this);
    socket.onmessage = ({ data }) => client._came(this, JSON.parse(data));
    socket.onclose = ({ code, reason }) => client._lost(this, reason || `closed (${code})`);
  }

  send(text) { this._socket.send(JSON.stringify({ send: text })); }

  ping() { this._socket.send(JSON.stringify({ ping: true })); }

  close() { this._socket.close(1000); }

  fail(why) {
    this._client._lost(this, why); // now: a closing handshake over a dead network takes long
    this.close();
  }
}

class EventsTransport {
  constructor(client, address) {
    this.name = "events";
    this.canPing = Boolean(client.options.post);
    this._client = client;
    // EventSource would come back by itself, but neither with jitter nor after an error status.
    const source = this._source = new EventSource(address);
    source.onopen = () => client._opened(this);
    source.onerror = () => this.fail("the events have ended");
    for (const type of ["message", "recovered", "gap", ...client.options.types]) {
      source.addEventListener(type, ({ data, lastEventId }) => {
        client._came(this, { event: type, data: data ? JSON.parse(data) : null, id: lastEventId });
      });
    }
  }

  async send(text) {
    const { post } = this._client.options;
    try {
      const answer = await fetch(post, { method: "POST", body: JSON.stringify({ send: text }) });
      if (!answer.ok) this.fail(`status ${answer.status}`);
    } catch {
      this.fail("the server cannot be reached");
    }
  }

  async ping() {
    const { post } = this._client.options;
    try {
      await fetch(post, { method: "POST", body: JSON.stringify({ ping: true }) });
      this._client._came(this, { event: "pong" });
    } catch {
      this.fail("the server cannot be reached");
    }
  }

  close() { this._source.close(); }

  fail(why) {
    this.close();
    this._client._lost(this, why);
  }
}

if (typeof module !== "undefined") module.exports = { ChannelClient };
