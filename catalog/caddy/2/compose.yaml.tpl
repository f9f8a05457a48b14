services:
  caddy:
    image: ${image}
    ports:
      - "${port}:80"
      - "${tlsPort}:443"
      - "${tlsPort}:443/udp"
    volumes:
      - data:/data
    configs:
      - source: caddyfile
        target: /etc/caddy/Caddyfile
{{- if ne .Values.network "" }}
    networks: [default, behind]
{{- end }}
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:2019/config/"]
      interval: 10s
      timeout: 3s
      retries: 3
      start_period: 10s
configs:
  caddyfile:
    content: |
      ${site} {
      	reverse_proxy ${upstream}
      }
{{- if ne .Values.network "" }}
networks:
  behind:
    external: true
    name: ${network}
{{- end }}
volumes:
  data: {}
