services:
  prometheus:
    image: ${prometheusImage}
    command:
      - --config.file=/etc/prometheus/prometheus.yml
      - --storage.tsdb.path=/prometheus
      - --storage.tsdb.retention.time=${retention}
    ports:
      - "${prometheusPort}:9090"
    volumes:
      - figures:/prometheus
{{- if ne .Values.network "" }}
    networks: [default, watched]
{{- end }}
    configs:
      - source: prometheus
        target: /etc/prometheus/prometheus.yml
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9090/-/healthy"]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 30s
  grafana:
    image: ${grafanaImage}
    depends_on:
      prometheus:
        condition: service_healthy
    environment:
      GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/password
    secrets: [password]
    ports:
      - "${port}:3000"
    volumes:
      - grafana:/var/lib/grafana
    configs:
      - source: datasource
        target: /etc/grafana/provisioning/datasources/prometheus.yaml
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3000/api/health"]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 60s
configs:
  prometheus:
    content: |
      global:
        scrape_interval: 15s
      scrape_configs:
        - job_name: programs
          static_configs:
            - targets: [${targets}]
  datasource:
    content: |
      apiVersion: 1
      datasources:
        - name: Prometheus
          type: prometheus
          access: proxy
          url: http://prometheus:9090
          isDefault: true
{{- if ne .Values.network "" }}
networks:
  watched:
    external: true
    name: ${network}
{{- end }}
secrets:
  password:
    environment: password
volumes:
  figures: {}
  grafana: {}
