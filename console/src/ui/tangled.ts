// Markdown that would keep the page busy. Its parser looks back from each mark at those before it in the same paragraph,
// so what is made of marks alone takes a minute for fifty kilobytes.

/** Longest text that is rendered. */
const MOST = 20_000
/** Most marks that may belong to each other between two empty lines. */
const MARKS = 400
/** Quotes and lists in each other, deeper than anybody writes them. */
const DEEP = /^(?:\s*(?:>|[-*+]|\d{1,9}[.)])[ \t]*){16}|^[ \t]{64}/m

export function isTangled(text: string): boolean {
  if (text.length > MOST || DEEP.test(text)) return true
  return text.split(/\n\s*\n/).some((block) => (block.match(/[*_[\]!`<&~]/g)?.length ?? 0) > MARKS)
}
