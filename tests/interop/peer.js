// A program that uses the real npm packages, told what to do by lines of JSON on standard input.
//
//   node peer.js KIND ID [connect:PORT | listen:PORT]...
//
// KIND: model events value expiry bucket array doc append signed, or bucket{PART=KIND,...}
'use strict'
const net = require('net')
const readline = require('readline')

const [kind, id, ...links] = process.argv.slice(2)
const kinds = {
  model: () => new (require('scuttlebutt/model'))(id),
  events: () => new (require('scuttlebutt/events'))(id),
  value: () => { const V = require('r-value'); const v = V(); v.setId(id); return v },
  expiry: () => { const E = require('expiry-model'); const e = E(); e.setId(id); return e },
  bucket: (parts) => {
    const Bucket = require('scuttlebucket')
    const b = new Bucket(id)
    for (const part of parts.split(',')) b.add(part.split('=')[0], kinds[part.split('=')[1]]())
    return b
  },
  doc: () => new (require('crdt').Doc)(id),
  append: () => new Append(id),
  array: () => { const A = require('r-array'); const a = A(); a.setId(id); return a },
  signed: () => {
    const model = new (require('scuttlebutt/model'))({
      id,
      sign: (update) => 'signed:' + JSON.stringify(update.slice(0, 3)),
      verify: (update, cb) => cb(null, update[3] === 'signed:' + JSON.stringify(update.slice(0, 3))),
      createId: () => id
    })
    if (id) model.setId(id)
    return model
  }
}
// What append-only 0.1 (not on the registry) does with its changes: it keeps pushed objects by
// "SOURCE:TIME", and stumbles over a removal of what it has not.
const Scuttlebutt = require('scuttlebutt')
class Append extends Scuttlebutt {
  constructor (id) { super(id); this.kept = []; this.items = {} }
  push (item) { this.localUpdate({ push: item }) }
  remove (name) { this.localUpdate({ remove: name }) }
  names () { return Object.keys(this.items) }
  toJSON () { return this.names().map((name) => this.items[name][0].push) }
  history (sources) { return this.kept.filter((u) => Scuttlebutt.filter(u, sources)) }
  applyUpdate (update) {
    const change = update[0]
    if (change.push) {
      const name = update[2] + ':' + update[1]
      Object.defineProperty(change.push, '__id', { value: name, configurable: true })
      this.items[name] = update
      this.kept.push(update)
    } else if (change.remove) {
      const gone = this.items[change.remove]
      delete this.items[change.remove]
      this.emit('remove', gone[0].push)
      this.kept.splice(this.kept.indexOf(gone), 1)
    }
    return true
  }
}
const [type, parts] = kind.replace('}', '').split('{')
const model = kinds[type](parts || 'meta=model,chat=events')
const heard = []
const unverified = []
const on = type === 'bucket' ? model.get('chat') : model
if (on && on.emit && (type === 'events' || type === 'bucket')) {
  for (const name of ['msg', 'other']) on.on(name, (...args) => heard.push([name, ...args]))
}
model.on('unverified_data', (u) => unverified.push(u))

function attach (socket, again) {
  const stream = model.createStream()
  stream.on('error', () => socket.destroy())
  socket.on('error', () => {})
  socket.on('close', () => { stream.end(); if (again) setTimeout(again, 20) })
  stream.on('header', (h) => { if (h && h.id) say({ header: h }) })
  socket.pipe(stream).pipe(socket)
}
function connect (port) {
  const socket = net.connect(port, '127.0.0.1', () => attach(socket, () => connect(port)))
  socket.once('error', () => { if (socket.connecting || !socket.remotePort) setTimeout(() => connect(port), 20) })
}
function say (o) { process.stdout.write(JSON.stringify(o) + '\n') }
for (const link of links) {
  const [how, port] = link.split(':')
  if (how === 'connect') connect(+port)
  else net.createServer((s) => attach(s)).listen(+port, '127.0.0.1')
}
const ops = {
  set: (k, v) => { model.set(k, v) },
  assign: (v) => { model.set(v) },
  many: (prefix, n) => { for (let i = 0; i < n; i++) model.set(prefix + i, { n: i }) },
  push: (...values) => { for (const value of values) model.push(value) },
  splice: (...args) => { model.splice(...args) },
  emit: (...args) => { on.emit(...args) },
  put: (k, v) => { model.get('meta').set(k, v) },
  part: (part, op, ...args) => model.get(part)[op](...args) && null,
  parts: () => model.toJSON(),
  remove: (name) => { model.remove(name) },
  names: () => model.names(),
  row: (id, fields) => { model.set(id, fields) },
  raw: (change) => { model.localUpdate(change) },
  connect: (port) => { connect(port) },
  at: (ms) => { Date.now = () => ms },
  clock: (ms) => { const now = Date.now; Date.now = () => now() + ms },
  state: () => type === 'value' ? model.get() : type === 'bucket' ? model.get('meta').toJSON() : model.toJSON(),
  size: () => Object.keys(model.toJSON()).length,
  heard: () => heard,
  unverified: () => unverified,
  history: () => model.history(),
  sources: () => model.sources
}
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [op, ...args] = JSON.parse(line)
  const answer = ops[op](...args)
  say({ answer: answer === undefined ? null : answer })
}).on('close', () => process.exit(0))
say({ ready: true })
