variable "version" {
  type        = string
  description = "The version of chef-failover in the image: its name says it, and the package must have it."
}

variable "packages" {
  type        = string
  description = "Folder with the RPMs to install: chef-failover's and, if the image has it, chef's or cinc's for this arch."
}

variable "config" {
  type        = string
  description = "Folder with config.yml and the certificates that it names as /etc/chef-failover/NAME. No keys."
}

variable "arch" {
  type        = string
  description = "What RPM calls it: x86_64 or aarch64."
  default     = "x86_64"
}

variable "kernel" {
  type        = string
  description = "The kernel of the Amazon Linux 2023 to start from, such as 6.1 or 6.12. Amazon publishes an image of each."
  default     = "6.1"
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "subnet_id" {
  type        = string
  description = "Where the image is built; empty for the default VPC."
  default     = ""
}

variable "ssh_interface" {
  type        = string
  description = "How Packer reaches the instance: private_ip or public_ip."
  default     = "private_ip"
}

variable "ssh_from" {
  type        = list(string)
  description = "Who may connect to the instance meanwhile. Packer's own default is the whole internet."
  default     = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
}

variable "kms_key_id" {
  type        = string
  description = "Encrypts the image; empty for the account's key for EBS."
  default     = ""
}

# For the tests: an EC2 of moto's, and a virtual machine to which its instance is only a name.

variable "output" {
  type    = string
  default = "output"
}

variable "ec2_endpoint" {
  type    = string
  default = ""
}

variable "ssh_host" {
  type    = string
  default = ""
}

variable "ssh_private_key_file" {
  type    = string
  default = ""
}
