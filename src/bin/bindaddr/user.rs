//! To bind as another user, with the privileges of that one.

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use uzers::{get_effective_uid, get_user_by_name, get_user_by_uid, get_user_groups};

use crate::arguments::User;

/// Makes the only thread of this process one of a user. Files are read before it.
pub(crate) fn become_user(user: &User) -> Result<(), String> {
    let Some(name) = &user.user else {
        return Ok(());
    };
    let by_number = || name.parse().ok().and_then(get_user_by_uid);
    let found = get_user_by_name(name).or_else(by_number);
    let found = found.ok_or_else(|| format!("there is no user `{name}`"))?;
    if get_effective_uid() != 0 {
        return Err("only root can bind as another user".to_owned());
    }
    let failed = |err| format!("cannot become `{name}`: {err}");
    let (uid, gid) = (found.uid(), found.primary_group_id());
    let groups = get_user_groups(found.name(), gid)
        .ok_or_else(|| format!("cannot read the groups of `{name}`"))?;
    let groups: Vec<Gid> = groups
        .iter()
        .map(|group| Gid::from_raw(group.gid()))
        .collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&groups).map_err(failed)?;
    set_thread_res_gid(gid, gid, gid).map_err(failed)?;
    set_keep_capabilities(user.cap_net_bind_service).map_err(failed)?;
    set_thread_res_uid(uid, uid, uid).map_err(failed)?;
    let kept = if user.cap_net_bind_service {
        CapabilitySet::NET_BIND_SERVICE
    } else {
        CapabilitySet::empty()
    };
    // Also for root, whose capabilities are not dropped by becoming root.
    if user.cap_net_bind_service || !uid.is_root() {
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).map_err(failed)?;
    }
    Ok(())
}
