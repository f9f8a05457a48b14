// An object as text: what was asked of it can be changed, is checked by the server while it is typed, and
// is shown as a difference before it is written.

import { lazy, Suspense } from 'react'
import type { AnyObject } from '../api/objects'
import { Loading } from './parts'

const Editor = lazy(() => import('./yaml-editor'))

export function ObjectEditor({ object, noun }: { object: AnyObject; noun: string }) {
  return (
    <Suspense fallback={<Loading />}>
      <Editor key={object.meta.id} object={object} noun={noun} />
    </Suspense>
  )
}
