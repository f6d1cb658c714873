# Salt state for dom0: a Ravelin firewall qube. Copy it to /srv/salt/ravelin.sls, change the names if need be, then:
#
#   sudo qubesctl state.sls ravelin
#
# The kernel's folder must be in place: by the RPM, or by `ravelin-install kernel`. Clients are not moved; that is
# `qvm-prefs CLIENT netvm sys-ravelin`, or `ravelin-install take-clients`.

{% set qube = 'sys-ravelin' %}
{% set netvm = 'sys-net' %}
{% set kernel = 'ravelin-@VERSION@' %}

{{ qube }}-kernel:
  file.exists:
    - name: /var/lib/qubes/vm-kernels/{{ kernel }}/vmlinuz

{{ qube }}-qube:
  qvm.vm:
    - name: {{ qube }}
    - require:
      - file: {{ qube }}-kernel
    - present:
      - class: StandaloneVM
      - label: green
    - prefs:
      - kernel: {{ kernel }}
      - memory: 32
      - maxmem: 0
      - vcpus: 1
      - virt-mode: pvh
      - provides-network: true
      - netvm: {{ netvm }}
      - audiovm: none
    - features:
      - enable:
        - qubes-firewall
        - skip-update
      - disable:
        - gui
