// What is used of noVNC, which brings no types of its own.
declare module '@novnc/novnc' {
  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, url: string, options?: { wsProtocols?: string[]; shared?: boolean })
    scaleViewport: boolean
    background: string
    sendCtrlAltDel(): void
    focus(): void
    disconnect(): void
  }
}
