# Images: what was pushed under a tag stays it, and is scanned. PCI-DSS 6.3.1, 6.3.2.

resource "aws_ecr_repository" "image" {
  for_each = toset([local.prefix, "${local.prefix}/collector"])

  name                 = each.key
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.key_arns.storage
  }
}
