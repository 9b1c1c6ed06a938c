# `packer init` installs it. Packer 1.6.6 has the builder inside and cannot read this file: see for-packer-1.6.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "= 1.8.2"
    }
  }
}
