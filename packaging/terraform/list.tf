# Where the fleet's list is kept. The list itself is put there by packaging/put-list, which checks it first.

resource "aws_s3_bucket" "list" {
  count  = var.list_bucket == "" ? 0 : 1
  bucket = var.list_bucket
}

resource "aws_s3_bucket_versioning" "list" {
  count  = length(aws_s3_bucket.list)
  bucket = aws_s3_bucket.list[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "list" {
  count  = length(aws_s3_bucket.list)
  bucket = aws_s3_bucket.list[0].id

  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == "" ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn == "" ? null : var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "list" {
  count                   = length(aws_s3_bucket.list)
  bucket                  = aws_s3_bucket.list[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "list" {
  count  = length(aws_s3_bucket.list)
  bucket = aws_s3_bucket.list[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:${local.partition}:s3:::${var.list_bucket}", "arn:${local.partition}:s3:::${var.list_bucket}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.list]
}
