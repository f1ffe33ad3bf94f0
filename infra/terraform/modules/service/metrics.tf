# The service's metrics are Prometheus'. A collector beside each task reads them over the
# loopback and writes those that alarms need into a log group, in CloudWatch's embedded format:
# no port is open to a scraper, and metrics need no endpoint of their own.

locals {
  collector = yamlencode({
    receivers = {
      prometheus = {
        config = {
          scrape_configs = [{
            job_name        = "strongroom"
            scrape_interval = "30s"
            static_configs = [{
              targets = ["127.0.0.1:${var.service_port}"]
              labels  = { deployment = local.prefix }
            }]
          }]
        }
      }
    }
    processors = { batch = { timeout = "30s" } }
    exporters = {
      awsemf = {
        namespace               = "Strongroom"
        region                  = var.deployment.region
        log_group_name          = aws_cloudwatch_log_group.task["metrics"].name
        log_stream_name         = "service"
        dimension_rollup_option = "NoDimensionRollup"
        metric_declarations = [{
          dimensions = [["deployment"]]
          metric_name_selectors = [
            "^strongroom_audit_anchor_failures_total$",
            "^strongroom_audit_log_broken$",
            "^strongroom_audit_unsealed_seconds$",
            "^strongroom_authentication_failures_total$",
            "^strongroom_commit_queue_depth$",
          ]
        }]
      }
    }
    service = {
      pipelines = {
        metrics = { receivers = ["prometheus"], processors = ["batch"], exporters = ["awsemf"] }
      }
    }
  })
}
