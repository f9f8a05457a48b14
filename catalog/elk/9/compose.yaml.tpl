{{- /* Each node is a service of its own: it has a name and a volume that stay its. */ -}}
x-health: &health
  interval: 10s
  timeout: 5s
  retries: 12
  start_period: 120s
services:
{{- range $i, $e := until (atoi .Values.nodes) }}
  elasticsearch-{{ add $i 1 }}:
    image: ${elasticsearchImage}
    environment:
      cluster.name: ${cluster}
      node.name: elasticsearch-{{ add $i 1 }}
      discovery.seed_hosts: elasticsearch
      cluster.initial_master_nodes: elasticsearch-1
      xpack.security.enabled: "false"
      ES_JAVA_OPTS: -Xms${heap} -Xmx${heap}
    networks:
      default:
        aliases: [elasticsearch]
{{- if eq $i 0 }}
    ports:
      - "${elasticsearchPort}:9200"
{{- end }}
    volumes:
      - data-{{ add $i 1 }}:/usr/share/elasticsearch/data
    ulimits:
      nofile: 65535
    healthcheck:
      test: ["CMD-SHELL", "curl -fs 'http://127.0.0.1:9200/_cluster/health?wait_for_status=yellow&timeout=3s' > /dev/null"]
      <<: *health
{{- end }}
  logstash:
    image: ${logstashImage}
    depends_on:
      elasticsearch-1:
        condition: service_healthy
    environment:
      XPACK_MONITORING_ENABLED: "false"
    ports:
      - "${beatsPort}:5044"
    configs:
      - source: pipeline
        target: /usr/share/logstash/pipeline/logstash.conf
    healthcheck:
      test: ["CMD-SHELL", "curl -fs http://127.0.0.1:9600/ > /dev/null"]
      <<: *health
  kibana:
    image: ${kibanaImage}
    depends_on:
      elasticsearch-1:
        condition: service_healthy
    environment:
      ELASTICSEARCH_HOSTS: http://elasticsearch:9200
    ports:
      - "${port}:5601"
    healthcheck:
      test: ["CMD-SHELL", "curl -fs http://127.0.0.1:5601/api/status > /dev/null"]
      <<: *health
configs:
  pipeline:
    content: |
      input {
        beats { port => 5044 }
        tcp { port => 5000 codec => json_lines }
      }
      output {
        elasticsearch { hosts => ["http://elasticsearch:9200"] }
      }
volumes:
{{- range $i, $e := until (atoi .Values.nodes) }}
  data-{{ add $i 1 }}: {}
{{- end }}
