//! Where clients' devices are in XenStore, and what a change there means.

use crate::base::text::decimal;
use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::vif::device_id::DeviceId;
use crate::xen::DomainId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The directory that the toolstack makes backend devices in, relative to ours.
pub const BACKENDS: &str = "backend";

/// Lists every device below [`BACKENDS`], in no particular order.
///
/// # Errors
/// Those of XenStore, but a directory that does not exist is an empty one.
pub async fn list<R: StoreRing>(store: &Store<R>) -> Result<Vec<DeviceId>, StoreError> {
    let mut devices = Vec::new();
    for domain in directory_or_empty(store, &format!("{BACKENDS}/vif")).await? {
        let Some(number) = decimal(&domain) else { continue };
        for device in directory_or_empty(store, &format!("{BACKENDS}/vif/{domain}")).await? {
            let Some(device) = decimal(&device) else { continue };
            devices.push(DeviceId { domain: DomainId(number), device });
        }
    }
    Ok(devices)
}

/// The children of a node; none when it does not exist.
///
/// # Errors
/// Those of XenStore.
pub async fn directory_or_empty<R: StoreRing>(
    store: &Store<R>,
    path: &str,
) -> Result<Vec<String>, StoreError> {
    match store.directory(path).await {
        Err(StoreError::NoEntry) => Ok(Vec::new()),
        other => other,
    }
}

/// What an event below [`BACKENDS`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// This device appeared or vanished, or its `state` or `online` node changed.
    Device(DeviceId),
    /// Any device may have appeared or vanished: all are to be listed.
    Devices,
    /// Nothing: the node is read only once, when its device arrives. Most of these changes are our own writes.
    Nothing,
}

/// The device that a path below [`BACKENDS`] belongs to: `backend/vif/<domain>/<device>/…`.
pub fn changed_in(path: &str) -> Changed {
    let mut parts = path.strip_prefix("backend/vif/").unwrap_or_default().split('/');
    let (domain, device) = (parts.next().and_then(decimal), parts.next().and_then(decimal));
    match (domain, device, parts.next()) {
        (Some(domain), Some(device), None | Some("state" | "online")) => {
            Changed::Device(DeviceId { domain: DomainId(domain), device })
        }
        (Some(_), Some(_), _) => Changed::Nothing,
        _ => Changed::Devices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_found_in_every_path() {
        let id = Changed::Device(DeviceId { domain: DomainId(7), device: 1 });
        for path in ["backend/vif/7/1", "backend/vif/7/1/state", "backend/vif/7/1/online"] {
            assert_eq!(changed_in(path), id);
        }
        for path in ["backend/vif/7/1/feature-sg", "backend/vif/7/1/mac"] {
            assert_eq!(changed_in(path), Changed::Nothing);
        }
        for path in ["backend", "backend/vif", "backend/vif/7", "backend/vbd/7/1", "backend/vif/x/1", "x"] {
            assert_eq!(changed_in(path), Changed::Devices);
        }
    }
}
