build {
  sources = ["source.amazon-ebs.node"]

  provisioner "shell" {
    inline = ["mkdir -p /tmp/chef-failover/packages /tmp/chef-failover/config"]
  }
  provisioner "file" {
    source      = "${var.packages}/"
    destination = "/tmp/chef-failover/packages/"
  }
  provisioner "file" {
    source      = "${var.config}/"
    destination = "/tmp/chef-failover/config/"
  }
  provisioner "shell" {
    environment_vars = ["VERSION=${var.version}"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    scripts = [
      "${path.root}/scripts/install.sh",
      "${path.root}/scripts/configure.sh",
      "${path.root}/scripts/verify.sh",
      "${path.root}/scripts/seal.sh",
    ]
  }

  post-processor "manifest" {
    output     = "${var.output}.json"
    strip_path = true
  }
}
