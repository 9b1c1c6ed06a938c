# `packer init` installs these. Packer 1.6.6 has both builders inside and cannot read this file: see for-packer-1.6.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "= 1.8.0"
    }
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = "= 1.1.0" # 1.1.2 and 1.1.3 end the machine too early: packer-plugin-qemu issue 198
    }
  }
}
