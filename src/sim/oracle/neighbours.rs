//! An oracle: nobody has more in the neighbour table than its bounds.

use crate::kernel::Firewall;
use crate::route::neighbour::silent::HOPS;
use crate::route::neighbour::waiting::PAGES;
use crate::store::StoreRing;
use crate::tables::share::Account;
use crate::xen::Xen;
use alloc::format;
use alloc::string::String;

/// Objects when an account, or all together, have more packets or silent hops there than they may.
pub fn check(firewall: &Firewall<impl Xen, impl StoreRing + 'static>) -> Result<(), String> {
    let neighbours = &firewall.egress().neighbours;
    let (mut pages, mut silent) = (0, 0);
    for account in Account::all() {
        let held = neighbours.holdings(account);
        pages += held.pages;
        silent += held.silent;
        if held.pages > PAGES.per_account || held.silent > HOPS.per_account {
            return Err(format!("{account:?} has {held:?}"));
        }
    }
    if pages > PAGES.total || silent > HOPS.total {
        return Err(format!("{pages} pages wait for {silent} silent hops"));
    }
    Ok(())
}
