# Alarms on what is written: the trail of AWS, the service's log, PostgreSQL's, the network's.
# One entry is one pattern and one alarm; at_least is how many within five minutes ring.

locals {
  vault_key = "(($.resources[0].ARN = \"${var.key_arns.pci}\") || ($.resources[0].ARN = \"${var.key_arns.pii}\"))"
  issuer    = "$.userIdentity.sessionContext.sessionIssuer.arn"
  named = {
    for alarm, names in {
      key_changed = [
        "CancelKeyDeletion", "CreateGrant", "DeleteAlias", "DeleteImportedKeyMaterial", "DisableKey",
        "DisableKeyRotation", "EnableKey", "PutKeyPolicy", "ScheduleKeyDeletion", "UpdateAlias",
      ]
      trail_stopped = [
        "DeleteTrail", "PutEventSelectors", "PutInsightSelectors", "StopLogging", "UpdateTrail",
      ]
      network_changed = [
        "AcceptVpcPeeringConnection", "AssociateRouteTable", "AttachInternetGateway",
        "AuthorizeSecurityGroupEgress", "AuthorizeSecurityGroupIngress", "CreateInternetGateway",
        "CreateNatGateway", "CreateRoute", "CreateTransitGatewayVpcAttachment", "CreateVpcEndpoint",
        "CreateVpcPeeringConnection", "DeleteFlowLogs", "DisassociateFirewallRuleGroup",
        "ModifyVpcBlockPublicAccessOptions", "ModifyVpcEndpoint", "UpdateFirewallConfig",
        "UpdateFirewallRule",
      ]
      rights_changed = [
        "AttachRolePolicy", "AttachUserPolicy", "CreateAccessKey", "CreateLoginProfile",
        "CreatePolicyVersion", "CreateRole", "CreateUser", "DeleteRolePermissionsBoundary",
        "PutBucketPolicy", "PutRolePermissionsBoundary", "PutRolePolicy", "PutUserPolicy",
        "SetDefaultPolicyVersion", "UpdateAssumeRolePolicy",
      ]
      snapshot_shared = [
        "EnableHttpEndpoint", "ModifyDBClusterSnapshotAttribute", "ModifyDBSnapshotAttribute", "StartExportTask",
      ]
      alarm_silenced = [
        "DeleteAlarms", "DeleteLogGroup", "DeleteMetricFilter", "DisableAlarmActions",
        "PutRetentionPolicy", "Unsubscribe",
      ]
    } : alarm => "{ ${join(" || ", [for name in names : "($.eventName = \"${name}\")"])} }"
  }
  log_alarms = {
    key_changed = {
      group = "trail", at_least = 1, pattern = local.named.key_changed
      about = "A key was disabled, scheduled for deletion, or given another policy (PCI-DSS 3.7.5)"
    }
    key_used_by_others = {
      group   = "trail", at_least = 1
      pattern = "{ ($.eventSource = \"kms.amazonaws.com\") && (($.eventName = \"Decrypt\") || ($.eventName = \"GenerateDataKey*\") || ($.eventName = \"ReEncrypt\") || ($.eventName = \"Encrypt\")) && ${local.vault_key} && ((${local.issuer} != \"${var.role_arns.service}\") || (${local.issuer} NOT EXISTS)) }"
      about   = "Somebody else than the service asked for a use of a vault key"
    }
    key_refused = {
      group   = "trail", at_least = 1
      pattern = "{ ($.eventSource = \"kms.amazonaws.com\") && ($.errorCode = \"*Denied*\") }"
      about   = "KMS refused a use of a key"
    }
    trail_stopped = {
      group = "trail", at_least = 1, pattern = local.named.trail_stopped
      about = "The trail was stopped or changed (PCI-DSS 10.7.2)"
    }
    network_changed = {
      group = "trail", at_least = 1, pattern = local.named.network_changed
      about = "A way in or out of the network was changed (PCI-DSS 1.2.2)"
    }
    rights_changed = {
      group = "trail", at_least = 1, pattern = local.named.rights_changed
      about = "Rights in the account were changed (PCI-DSS 10.2.1.5)"
    }
    snapshot_shared = {
      group = "trail", at_least = 1, pattern = local.named.snapshot_shared
      about = "The database was opened another way: a snapshot shared or exported, the Data API switched on"
    }
    alarm_silenced = {
      group = "trail", at_least = 1, pattern = local.named.alarm_silenced
      about = "An alarm, or what it looks at, was taken away (PCI-DSS 10.7.2)"
    }
    break_glass_used = {
      group   = "trail", at_least = 1
      pattern = "{ ($.requestParameters.roleArn = \"${var.role_arns.break_glass}\") || (${local.issuer} = \"${var.role_arns.break_glass}\") }"
      about   = "Somebody broke the glass"
    }
    root_used = {
      group   = "trail", at_least = 1
      pattern = "{ ($.userIdentity.type = \"Root\") && ($.userIdentity.invokedBy NOT EXISTS) && ($.eventType != \"AwsServiceEvent\") }"
      about   = "The account's root user was used (PCI-DSS 8.2.2)"
    }
    sign_in_failed = {
      group   = "trail", at_least = 3
      pattern = "{ ($.eventName = \"ConsoleLogin\") && ($.errorMessage = \"Failed authentication\") }"
      about   = "Failed sign-ins to the console (PCI-DSS 10.2.1.4)"
    }
    log_broken = {
      group   = "service", at_least = 1
      pattern = "{ ($.event = \"audit_log_broken\") || ($.event = \"checkpoint_conflict\") || ($.event = \"signature_does_not_verify\") }"
      about   = "The audit log contradicts what was signed before: stop and compare"
    }
    tail_unsealed = {
      group = "service", at_least = 1, pattern = "{ $.event = \"audit_unsealed\" }"
      about = "Events have waited over five minutes to be sealed"
    }
    sealing_failed = {
      group   = "service", at_least = 10
      pattern = "{ ($.event = \"sealing_failed\") || ($.event = \"signing_failed\") || ($.event = \"anchor_failed\") || ($.event = \"anchor_bucket_failed\") || ($.event = \"signing_key_unusable\") }"
      about   = "Checkpoints cannot be signed or kept"
    }
    audit_not_written = {
      group = "service", at_least = 1, pattern = "{ $.event = \"audit_write_failed\" }"
      about = "The audit log could not be written: requests are refused (PCI-DSS 10.7.2)"
    }
    unexpected_error = {
      group   = "service", at_least = 1
      pattern = "{ ($.event = \"unexpected_error\") || ($.event = \"uncaught_exception\") }"
      about   = "The service failed in a way that nobody thought of"
    }
    honeytoken_used = {
      group = "service", at_least = 1, pattern = "{ $.event = \"honeytoken_touched\" }"
      about = "A token that nobody has a reason to ask for was asked for"
    }
    database_login_refused = {
      group   = "service", at_least = 1
      pattern = "{ ($.event = \"database_login_refused\") || ($.event = \"database_password_unavailable\") }"
      about   = "A login of the service may do more than it should, or cannot log in"
    }
    database_login_failed = {
      group   = "database", at_least = 3
      pattern = "?\"password authentication failed\" ?\"PAM authentication failed\" ?\"no pg_hba.conf entry\""
      about   = "Failed logins to the database (PCI-DSS 10.2.1.4)"
    }
    flow_refused = {
      group   = "flows", at_least = 20
      pattern = "[version, account, interface, source, destination, from_port, to_port, protocol, packets, bytes, start, end, action = \"REJECT\", status]"
      about   = "Something knocks at closed doors, in here or from in here"
    }
    name_blocked = {
      group = "dns", at_least = 1, pattern = "{ $.firewall_rule_action = \"BLOCK\" }"
      about = "Something in here asked for a name that it has no reason to know"
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "watched" {
  for_each = local.log_alarms

  name           = "${local.prefix}-${replace(each.key, "_", "-")}"
  log_group_name = var.log_group_names[each.value.group]
  pattern        = each.value.pattern

  metric_transformation {
    namespace = "Strongroom/${var.deployment.stage}"
    name      = each.key
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "watched" {
  for_each = local.log_alarms

  alarm_name          = "${local.prefix}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.about
  namespace           = aws_cloudwatch_log_metric_filter.watched[each.key].metric_transformation[0].namespace
  metric_name         = aws_cloudwatch_log_metric_filter.watched[each.key].metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.at_least
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
