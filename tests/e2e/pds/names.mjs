// Loaded before the PDS (node --import): sends connections to the host names in HEADWATER_TEST_NAMES, a JSON object of
// host name to loopback port, to that port. Public names are what the PDS asks of a client, and no DNS here has them.
import net from 'node:net'

const ports = JSON.parse(process.env.HEADWATER_TEST_NAMES ?? '{}')
const connect = net.Socket.prototype.connect

net.Socket.prototype.connect = function (...args) {
  const normalized = Array.isArray(args[0])
  const options = normalized ? args[0][0] : args[0]
  const port = ports[options?.host]
  if (port !== undefined) {
    const loopback = { ...options, host: '127.0.0.1', port }
    if (normalized) args[0][0] = loopback
    else args[0] = loopback
  }
  return connect.apply(this, args)
}
