services:
  machine:
    image: ${image}
    ports:
      - "${sshPort}:22"
    stop_grace_period: 90s
    x-monohull:
      cpus: ${cpus}
      memory: ${memory}
      root_size: ${disk}
{{- if ne .Values.sshKey "" }}
      cloud_init:
        ssh_keys: ["${sshKey}"]
{{- end }}
