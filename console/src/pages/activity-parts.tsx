import type { Operation } from '../api/objects'
import { t } from '../i18n'
import { Age, Badge, Bar } from '../ui/parts'

export function OperationRow({ operation }: { operation: Operation }) {
  const { spec, status, meta } = operation
  const phase = status?.phase ?? 'running'
  const tone = phase === 'done' ? 'good' : phase === 'failed' ? 'bad' : 'busy'
  return (
    <div className="stack" style={{ gap: 4, padding: '7px 0', borderBottom: '1px solid var(--line)' }}>
      <div className="row">
        <span className="grow cut" title={spec.title}>
          {spec.title}
        </span>
        <Badge tone={tone}>{t(phase === 'done' ? 'done' : phase === 'failed' ? 'failed' : 'running')}</Badge>
        <span className="faint">
          <Age time={meta.created} />
        </span>
      </div>
      {phase === 'running' && status && status.total > 0 && <Bar part={status.done / status.total} label={spec.title ?? ''} />}
      {status?.reason && <span className="faint">{status.reason.message}</span>}
      {spec.by && <span className="faint">{t('by {name}', { name: spec.by })}</span>}
    </div>
  )
}
