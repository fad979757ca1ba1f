// A real PLC directory (in memory) and a real PDS: arguments are the PDS's directory, and the loopback ports of both.
// Prints one line of JSON with their addresses, and stops when its standard input closes.
import { randomBytes } from 'node:crypto'
import { envToCfg, envToSecrets, PDS } from '@atproto/pds'
import plc from '@did-plc/server'

const directory = process.argv[2]
const [plcPort, port] = process.argv.slice(3).map(Number)
const hex = (bytes) => randomBytes(bytes).toString('hex')

const plcServer = plc.PlcServer.create({ db: plc.Database.mock(), port: plcPort })
await plcServer.start()
const plcUrl = `http://localhost:${plcPort}`

const adminPassword = hex(16)
const env = {
  devMode: true,
  port,
  hostname: 'localhost',
  dataDirectory: directory,
  blobstoreDiskLocation: `${directory}/blobs`,
  didPlcUrl: plcUrl,
  serviceHandleDomains: ['.test'],
  inviteRequired: false,
  disableSsrfProtection: true,
  rateLimitsEnabled: false,
  adminPassword,
  jwtSecret: hex(16),
  dpopSecret: hex(32),
  plcRotationKeyK256PrivateKeyHex: hex(32),
}
const pds = await PDS.create(envToCfg(env), envToSecrets(env))
await pds.start()

console.log(JSON.stringify({ plc_url: plcUrl, pds_url: `http://localhost:${port}`, admin_password: adminPassword }))

let stopping = false
const stop = async () => {
  if (stopping) return
  stopping = true
  await pds.destroy()
  await plcServer.destroy()
  process.exit(0)
}
process.stdin.on('end', stop)
process.stdin.resume()
process.on('SIGTERM', stop)
