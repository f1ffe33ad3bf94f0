# More tasks before the ones that are there are busy: a token is asked for while somebody waits.

resource "aws_appautoscaling_target" "tasks" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.vault.name}/${aws_ecs_service.vault.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.replicas.least
  max_capacity       = var.replicas.greatest
}

resource "aws_appautoscaling_policy" "processor" {
  name               = "${local.prefix}-processor"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.tasks.service_namespace
  resource_id        = aws_appautoscaling_target.tasks.resource_id
  scalable_dimension = aws_appautoscaling_target.tasks.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 50
    scale_out_cooldown = 30
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
