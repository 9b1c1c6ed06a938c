# frozen_string_literal: true

name 'chef_failover'
maintainer 'The authors of chef-failover'
license 'Apache-2.0'
description 'Rolls out chef-failover: every chef-client run uses a Chef server that works'
version '1.0.0'
chef_version '>= 16.0'
supports 'amazon', '>= 2023.0'
supports 'redhat', '>= 9.0'
supports 'rocky', '>= 9.0'
supports 'almalinux', '>= 9.0'
