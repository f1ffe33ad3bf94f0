output "key_arns" {
  description = "ARNs of the keys: pci and pii wrap data keys, signing signs the log, reports seals outputs, storage lies beneath what AWS stores."
  value = {
    pci     = aws_kms_key.domain["pci"].arn
    pii     = aws_kms_key.domain["pii"].arn
    signing = aws_kms_key.signing.arn
    reports = aws_kms_key.reports.arn
    storage = aws_kms_key.storage.arn
  }
}
