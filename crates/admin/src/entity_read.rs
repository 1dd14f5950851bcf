//! One entity.

use crate::call::Call;
use crate::error::Error;
use crate::locate::Located;
use crate::reply::{self, Response};
use crate::shown;
use model::EntityKind;

pub(crate) fn show(call: &Call, kind: &EntityKind, located: Located) -> Result<Response, Error> {
    let row = located.row.ok_or(Error::NotFound)?;
    let shown = shown::shown(call, kind, &row)?;
    Ok(reply::tagged(reply::ok(&shown), &shown::tag(&shown)))
}
