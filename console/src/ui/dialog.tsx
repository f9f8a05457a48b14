// Dialogs and menus, with the keyboard and screen readers seen to by Radix.

import { Dialog as Primitive, DropdownMenu } from 'radix-ui'
import { EllipsisVertical, X, type LucideIcon } from 'lucide-react'
import { useState, type ReactNode } from 'react'
import { t } from '../i18n'
import { ProblemNote } from './parts'

interface DialogProps {
  open: boolean
  close: () => void
  title: string
  wide?: boolean
  about?: ReactNode
  children: ReactNode
}

export function Dialog({ open, close, title, wide, about, children }: DialogProps) {
  return (
    <Primitive.Root open={open} onOpenChange={(next) => next || close()}>
      <Primitive.Portal>
        <Primitive.Overlay className="veil" />
        <Primitive.Content className={wide ? 'dialog wide' : 'dialog'} {...(about ? {} : { 'aria-describedby': undefined })}>
          <div className="row">
            <Primitive.Title className="grow" asChild>
              <h1>{title}</h1>
            </Primitive.Title>
            <Primitive.Close className="button plain small icon" aria-label={t('Close')}>
              <X aria-hidden />
            </Primitive.Close>
          </div>
          {about && (
            <Primitive.Description asChild>
              <div>{about}</div>
            </Primitive.Description>
          )}
          {children}
        </Primitive.Content>
      </Primitive.Portal>
    </Primitive.Root>
  )
}

interface FormDialogProps extends DialogProps {
  verb: string
  danger?: boolean
  ready?: boolean
  /** Does it; the dialog closes when it could be done, and says why when not. */
  act: () => Promise<unknown>
}

export function FormDialog({ verb, danger, ready = true, act, children, ...dialog }: FormDialogProps) {
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<unknown>()
  const submit = async () => {
    setBusy(true)
    setProblem(undefined)
    try {
      await act()
      dialog.close()
    } catch (error) {
      setProblem(error)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Dialog {...dialog}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault()
          void submit()
        }}
      >
        {children}
        {problem !== undefined && <ProblemNote error={problem} />}
        <div className="ends">
          <button type="button" className="button" onClick={dialog.close}>
            {t('Cancel')}
          </button>
          <button type="submit" className={danger ? 'button primary danger' : 'button primary'} disabled={busy || !ready}>
            {verb}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

export interface Action {
  title: string
  icon: LucideIcon
  act: () => void
  danger?: boolean
  disabled?: boolean
}

export function ActionMenu({ label, actions }: { label: string; actions: (Action | 'line')[] }) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger className="button plain small icon" aria-label={label}>
        <EllipsisVertical aria-hidden />
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content className="menu" align="end" sideOffset={4}>
          {actions.map((action, i) =>
            action === 'line' ? (
              <DropdownMenu.Separator key={i} />
            ) : (
              <DropdownMenu.Item key={action.title} disabled={action.disabled} className={action.danger ? 'danger' : ''} onSelect={action.act}>
                <action.icon aria-hidden />
                {action.title}
              </DropdownMenu.Item>
            ),
          )}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}
