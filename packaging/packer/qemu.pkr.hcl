# The same image as a disk for QEMU, without KVM: how the tests bake it.
source "qemu" "node" {
  iso_url              = var.disk
  iso_checksum         = "none"
  disk_image           = true
  skip_resize_disk     = true
  skip_compaction      = true
  format               = "qcow2"
  disk_interface       = "virtio"
  disk_cache           = "unsafe"
  net_device           = "virtio-net-pci"
  accelerator          = "tcg"
  machine_type         = "q35"
  memory               = 1024
  cpus                 = 2
  headless             = true
  vnc_bind_address     = "127.0.0.1"
  use_default_display  = true
  output_directory     = var.output
  vm_name              = "node.qcow2"
  boot_wait            = "1s"
  ssh_username         = "ec2-user"
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "5m"
  shutdown_command     = "sudo systemctl poweroff"
  shutdown_timeout     = "2m"

  # The network ends at ssh: there is no metadata service, so cloud-init waits for the machines made of this image.
  qemuargs = [
    ["-cpu", "Nehalem"], # x86-64-v2, as Amazon Linux 2023 has it; wider vectors are slow where they are emulated
    ["-kernel", var.kernel],
    ["-initrd", var.initrd],
    ["-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off no_timer_check cloud-init=disabled"],
    ["-netdev", "user,id=user.0,restrict=on,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"],
    ["-serial", "file:${var.output}.console"],
    ["-display", "none"],
  ]
}
