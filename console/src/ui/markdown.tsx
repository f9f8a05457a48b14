// Text in Markdown by people whom nobody here knows. No HTML of theirs is taken, nothing is loaded from elsewhere, and a
// link says what it leads to and to whom it tells nothing.

import { Component, type ReactNode } from 'react'
import Markdown from 'react-markdown'
import remarkGfm from 'remark-gfm'
import { isTangled } from './tangled'

const Plain = ({ text }: { text: string }) => <pre style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>{text}</pre>

/** What cannot be shown as it was meant is shown as it was written. */
class Guard extends Component<{ text: string; children: ReactNode }, { failed: boolean }> {
  state = { failed: false }

  static getDerivedStateFromError() {
    return { failed: true }
  }

  render() {
    return this.state.failed ? <Plain text={this.props.text} /> : this.props.children
  }
}

export default function Prose({ text }: { text: string }) {
  if (isTangled(text)) return <Plain text={text} />
  return (
    <Guard text={text}>
      <Rendered text={text} />
    </Guard>
  )
}

function Rendered({ text }: { text: string }) {
  return (
    <div className="prose">
      <Markdown
        remarkPlugins={[remarkGfm]}
        skipHtml
        components={{
          // The page has headings above these.
          h1: ({ children }) => <h3>{children}</h3>,
          h2: ({ children }) => <h3>{children}</h3>,
          h3: ({ children }) => <h4>{children}</h4>,
          pre: ({ children }) => <pre tabIndex={0}>{children}</pre>,
          a: ({ href, children }) =>
            href && /^https?:\/\//i.test(href) ? (
              <a href={href} title={href} target="_blank" rel="noopener noreferrer nofollow">
                {children}
              </a>
            ) : (
              <span>{children}</span>
            ),
          img: ({ alt }) => <span className="faint">{alt}</span>,
          input: ({ checked }) => <span>{checked ? '☑' : '☐'}</span>,
        }}
      >
        {text}
      </Markdown>
    </div>
  )
}
