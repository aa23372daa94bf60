// A WebSocket that comes back by itself, for the pages of the examples.

const LONGEST = 10_000  // ms between two attempts

/**
 * Connect to a path beside the page's own, and again whenever the connection has ended.
 *
 * @param {string} path
 * @param {object} on  state(name, text): "connecting", "open" or "closed", and the same for people;
 *   open(), close(code), message(data); and binaryType, as WebSocket has it.
 * @returns {{send: function(*): boolean, close: function(), is_open: boolean}}  send says whether it could.
 */
export function connect(path, on) {
  const url = new URL(path, location.href)
  url.protocol = url.protocol.replace("http", "ws")
  let socket, failures = 0, is_wanted = true

  function attempt() {
    on.state?.("connecting", "Connecting")
    socket = new WebSocket(url)
    socket.binaryType = on.binaryType ?? "blob"
    socket.onopen = () => { failures = 0; on.state?.("open", "Open"); on.open?.() }
    socket.onmessage = event => on.message?.(event.data)
    socket.onclose = event => {
      // Later each time, and by chance, so that a server's clients do not all come back at once.
      const pause = Math.min(LONGEST, 500 * 2 ** failures++) * (0.5 + Math.random() / 2)
      on.state?.("closed", is_wanted ? `Closed (${event.code}), back in ${(pause / 1000).toFixed(1)} s` : "Closed")
      on.close?.(event.code)
      if (is_wanted) setTimeout(attempt, pause)
    }
  }
  attempt()
  return {
    get is_open() { return socket.readyState === WebSocket.OPEN },
    send(data) { if (this.is_open) socket.send(data); return this.is_open },
    close() { is_wanted = false; socket.close() },
  }
}
