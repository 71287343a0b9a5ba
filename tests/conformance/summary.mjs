// Reads the results of http-cache-tests beside its tests, prints a table, and holds what fails against the list of what is known.
import fs from 'node:fs'
import suites from './tests/index.mjs'

const [results, known, suite, document] = process.argv.slice(2)
const outcome = JSON.parse(fs.readFileSync(results, 'utf8'))
const reasons = new Map(
  fs.readFileSync(known, 'utf8').split('\n').filter(line => line && !line.startsWith('#')).map(line => line.split(/\s+(.*)/))
)

const all = suites.flatMap(one => one.tests.map(test => ({ ...test, suite: one.name, kind: test.kind || 'required' })))
  // What only the cache of a browser does.
  .filter(test => !test.browser_only)
const byId = new Map(all.map(test => [test.id, test]))
const passes = id => outcome[id] === true
// A test that builds on another one says nothing where that one fails.
const applies = test => (test.depends_on || []).every(id => byId.has(id) && passes(id) && applies(byId.get(id)))

const rows = []
for (const one of suites) {
  const cells = kind => {
    const tests = all.filter(test => test.suite === one.name && test.kind === kind && applies(test))
    return tests.length ? `${tests.filter(test => passes(test.id)).length} / ${tests.length}` : ''
  }
  rows.push([one.name, cells('required'), cells('optimal'), cells('check')])
}
const total = kind => {
  const tests = all.filter(test => test.kind === kind && applies(test))
  return `${tests.filter(test => passes(test.id)).length} / ${tests.length}`
}
rows.push(['**all**', total('required'), total('optimal'), total('check')])
const table = [
  '| group | required | optimal | behaviour |',
  '|---|---|---|---|',
  ...rows.map(row => `| ${row.join(' | ')} |`)
].join('\n')
const failing = all.filter(test => test.kind !== 'check' && applies(test) && !passes(test.id))
const list = failing.map(test => `- \`${test.id}\` (${test.kind}): ${reasons.get(test.id) || '?'}`).join('\n')

console.log(table)
console.log('\n' + list)
if (document) {
  const text = fs.readFileSync(document, 'utf8')
  const [begin, end] = ['<!-- conformance: begin -->', '<!-- conformance: end -->']
  const inside = `${begin}\n\n${suite}, as a shared cache:\n\n${table}\n\nWhat fails, and why:\n\n${list}\n\n${end}`
  fs.writeFileSync(document, text.slice(0, text.indexOf(begin)) + inside + text.slice(text.indexOf(end) + end.length))
}
let isBad = false
for (const test of failing.filter(test => !reasons.has(test.id))) {
  console.error(`fails and is not in the list: ${test.id} (${test.kind}): ${JSON.stringify(outcome[test.id])}`)
  isBad = true
}
for (const id of reasons.keys()) {
  if (passes(id)) {
    console.error(`is in the list and passes: ${id}`)
    isBad = true
  }
}
process.exit(isBad ? 1 : 0)
