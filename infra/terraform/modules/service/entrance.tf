# The way in: callers' endpoints lead by PrivateLink to a network balancer, that to a private
# application balancer, where TLS ends, and that to the tasks. No network is joined to another.
# PCI-DSS 1.3.1, 1.4.2, 4.2.1.

resource "aws_lb" "balancer" {
  name                       = "${local.prefix}-balancer"
  load_balancer_type         = "application"
  internal                   = true
  subnets                    = var.network.subnet_ids["entrance"]
  security_groups            = [var.network.security_group_ids["balancer"]]
  enable_deletion_protection = var.deletion_protection
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  idle_timeout               = 60
}

resource "aws_lb_target_group" "service" {
  name                 = "${local.prefix}-service"
  vpc_id               = var.network.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = var.service_port
  deregistration_delay = 60

  # Whether the process answers, not whether it is ready: with KMS or the database away no task
  # is ready, and ECS would replace them all, with the keys that they still have in memory.
  health_check {
    path                = "/healthz"
    matcher             = "200"
    interval            = 10
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "tls" {
  load_balancer_arn = aws_lb.balancer.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service.arn
  }
}

# Who is on the network needs neither of these; who is not has no use for them.
resource "aws_lb_listener_rule" "inside" {
  listener_arn = aws_lb_listener.tls.arn
  priority     = 10

  condition {
    path_pattern {
      values = ["/metrics", "/docs", "/openapi.json"]
    }
  }
  action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_lb" "entrance" {
  name                             = "${local.prefix}-entrance"
  load_balancer_type               = "network"
  internal                         = true
  subnets                          = var.network.subnet_ids["entrance"]
  security_groups                  = [var.network.security_group_ids["entrance"]]
  enable_deletion_protection       = var.deletion_protection
  enable_cross_zone_load_balancing = true

  enforce_security_group_inbound_rules_on_private_link_traffic = "on"
}

resource "aws_lb_target_group" "balancer" {
  name        = "${local.prefix}-balancer"
  vpc_id      = var.network.vpc_id
  target_type = "alb"
  protocol    = "TCP"
  port        = 443

  health_check {
    protocol = "HTTPS"
    path     = "/healthz"
    matcher  = "200"
  }
}

resource "aws_lb_target_group_attachment" "balancer" {
  target_group_arn = aws_lb_target_group.balancer.arn
  target_id        = aws_lb_listener.tls.load_balancer_arn
  port             = 443
}

resource "aws_lb_listener" "entrance" {
  load_balancer_arn = aws_lb.entrance.arn
  port              = 443
  protocol          = "TCP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.balancer.arn
  }
}

resource "aws_vpc_endpoint_service" "vault" {
  network_load_balancer_arns = [aws_lb.entrance.arn]
  acceptance_required        = true
  allowed_principals         = var.consumer_arns
  tags                       = { Name = local.prefix }
}

# For report jobs, which call from inside.
resource "aws_route53_zone" "vault" {
  name    = var.service_domain
  comment = "The vault, for its own network"

  vpc {
    vpc_id = var.network.vpc_id
  }
}

resource "aws_route53_record" "vault" {
  zone_id = aws_route53_zone.vault.zone_id
  name    = var.service_domain
  type    = "A"

  alias {
    name                   = aws_lb.balancer.dns_name
    zone_id                = aws_lb.balancer.zone_id
    evaluate_target_health = false
  }
}
