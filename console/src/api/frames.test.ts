import { expect, test } from 'vitest'
import { LogReader } from './frames'

function frame(stream: number, flags: number, milliseconds: number, text: string): number[] {
  const payload = new TextEncoder().encode(text)
  const header = new DataView(new ArrayBuffer(16))
  header.setUint8(0, stream)
  header.setUint8(1, flags)
  header.setUint32(4, payload.length)
  header.setBigInt64(8, BigInt(milliseconds) * 1_000_000n)
  return [...new Uint8Array(header.buffer), ...payload]
}

const BYTES = new Uint8Array([...frame(1, 0, 5, 'be'), ...frame(2, 1, 6, 'other\n'), ...frame(1, 1, 7, 'gun\r\n'), ...frame(1, 0, 8, '$ ')])

test('lines are read wherever the bytes are cut', () => {
  for (const step of [1, 7, 16, 17, BYTES.length]) {
    const reader = new LogReader()
    const lines = []
    for (let at = 0; at < BYTES.length; at += step) lines.push(...reader.take(BYTES.subarray(at, at + step)))
    expect(lines.map(({ time, stderr, text }) => [time, stderr, text])).toEqual([
      [6, true, 'other'],
      [5, false, 'begun'],
    ])
    expect(reader.rest().map((it) => it.text)).toEqual(['$ '])
  }
})

test('a problem ends the log, and a length that cannot be is refused', () => {
  const problem = JSON.stringify({ detail: 'it is gone', kind: 'notFound', status: 404 })
  expect(() => new LogReader().take(new Uint8Array(frame(3, 1, 0, problem)))).toThrow('it is gone')
  const wrong = new Uint8Array(16).fill(255)
  expect(() => new LogReader().take(wrong)).toThrow('not in frames')
})
