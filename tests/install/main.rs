//! What is handed out and how it is built: `dist/ravelin-install` and the RPM's scripts against stand-ins of dom0's commands, and
//! the scripts in `tools` that make an image the same wherever it is built.
#![cfg(unix)]
#![allow(missing_docs)]

mod building;
mod clients;
mod create;
mod dom0;
mod interrupted;
mod kernel_folder;
mod reports;
mod versions;
