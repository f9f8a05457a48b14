import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { connection } from './api/connection'
import { ask, useSession } from './api/session'
import { mark, useLanguage } from './i18n'
import { SignIn } from './pages/sign-in'
import { router } from './routes'
import './styles.css'
import { showTheme } from './ui/theme'
import { Toasts } from './ui/toast'
import { giveNonceToStyles } from './ui/nonce'

giveNonceToStyles()
showTheme()
mark()
void ask()

// A tab that was left open over an upgrade asks for files that are no more: the new page knows others.
// Where that does not help, it is not tried again and again. While nobody answers, as over a restart, there is no new
// page to go to: the one that is there waits.
async function loadAnew(): Promise<void> {
  const last = Number(sessionStorage.getItem('hull.reloaded'))
  if (Date.now() - last < 10_000 || connection.state() === 'lost') return
  const page = await fetch('/console/', { cache: 'no-store' }).catch(() => undefined)
  if (!page?.ok) return
  sessionStorage.setItem('hull.reloaded', String(Date.now()))
  location.reload()
}

window.addEventListener('vite:preloadError', () => void loadAnew())

const queries = new QueryClient({
  defaultOptions: { queries: { retry: 1, staleTime: 10_000, refetchOnWindowFocus: false } },
})

function App() {
  const language = useLanguage()
  const session = useSession()
  if (session.state === 'asking') return null
  return (
    <div key={language} className="frame">
      {session.state === 'in' ? <RouterProvider router={router} /> : <SignIn session={session} />}
      <Toasts />
    </div>
  )
}

createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
)
