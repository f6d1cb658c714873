//! The kernel: what Xen boots.
#![no_std]
#![no_main]
