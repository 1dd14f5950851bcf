//! Settings in variables: `PORTCULLIS_<NAME>`, and `KONG_<NAME>` as Kong reads it.

use super::FILE_VARIABLE;
use super::places::{Given, Place, unknown};
use super::problem::{Fault, Warning};
use super::table::find;

/// The variables of this process. Unlike `std::env::vars` it does not panic at one that is not
/// Unicode.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// `PORTCULLIS_*`: each must be a setting, as nobody else has a reason to use these names.
pub fn portcullis(variables: &[(String, String)], faults: &mut Vec<Fault>) -> Place {
    let mut place = Place::default();
    for unread in put_known("PORTCULLIS_", variables, &mut place, faults) {
        if unread != FILE_VARIABLE {
            let name = unread.trim_start_matches("PORTCULLIS_").to_lowercase();
            let reason = unknown(&name, |meant| format!("PORTCULLIS_{}", meant.to_uppercase()));
            faults.push(Fault::new(unread, reason));
        }
    }
    place
}

/// `KONG_*`: those that this gate does not read are named in one warning. They are no mistake:
/// whoever comes from Kong has many.
pub fn kong(variables: &[(String, String)], faults: &mut Vec<Fault>, warnings: &mut Vec<Warning>) -> Place {
    let mut place = Place::default();
    let mut unread = put_known("KONG_", variables, &mut place, faults);
    if !unread.is_empty() {
        unread.sort_unstable();
        warnings.push(Warning::new(format!("these variables of Kong have no effect here: {}", unread.join(", "))));
    }
    place
}

/// Takes in the variables with this prefix that are settings; gives the names of the others.
fn put_known<'a>(
    prefix: &str,
    variables: &'a [(String, String)],
    place: &mut Place,
    faults: &mut Vec<Fault>,
) -> Vec<&'a str> {
    let mut unread = Vec::new();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(prefix) else { continue };
        let known = if is_upper(name) { find(&name.to_lowercase()) } else { None };
        match known {
            Some(setting) => place.put(setting, Given { place: variable.clone(), text: value.clone() }, faults),
            None if describes_service(name, value) => {}
            None => unread.push(variable.as_str()),
        }
    }
    unread
}

fn is_upper(name: &str) -> bool {
    !name.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Whether a variable is one of those with which Kubernetes and Docker describe a service: for one
/// called `portcullis` they are `PORTCULLIS_SERVICE_HOST`, `PORTCULLIS_PORT=tcp://10.0.0.7:80`,
/// `PORTCULLIS_PORT_80_TCP_ADDR` and more. The operator did not write them.
fn describes_service(name: &str, value: &str) -> bool {
    let parts: Vec<_> = name.split('_').collect();
    let has = |wanted: &[&str]| parts.windows(wanted.len()).any(|window| window == wanted);
    let numbered_port = parts.windows(3).any(|window| match window {
        ["PORT", number, protocol] => number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(protocol),
        _ => false,
    });
    has(&["SERVICE", "HOST"])
        || has(&["SERVICE", "PORT"])
        || numbered_port
        || (parts.last() == Some(&"PORT") && value.contains("://"))
}
