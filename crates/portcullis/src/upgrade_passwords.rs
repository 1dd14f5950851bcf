//! Passwords that were imported in Kong's form (SHA-1) are kept by Argon2id as soon as their owner has come.

use crate::gate::{Gate, Handle};
use crate::kept::Applied;
use admin::Gate as _;
use model::rows::{Refused, Unavailable};
use model::{Hashing, Invalid, entity, hash_secrets};
use schema::{Value, Violations};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::{io, thread};
use uuid::Uuid;

/// A credential, what is kept of its password, and the password.
type Known = (Uuid, String, String);

/// How many may wait. The others are kept anew the next time.
const WAITING: usize = 64;

/// Keeps the passwords of who comes by what is in force anew from now on, until the gate is gone.
pub fn start(gate: &Arc<Gate>, applied: &Applied) -> io::Result<()> {
    let (gate, (sender, known)) = (Arc::downgrade(gate), sync_channel::<Known>(WAITING));
    thread::Builder::new().name("passwords".to_owned()).spawn(move || {
        for (id, kept, password) in known {
            let Some(gate) = Weak::upgrade(&gate) else { return };
            // Changes would wait for it. The password comes again.
            if gate.is_cut_off() {
                continue;
            }
            if let Err(Failed(text)) = keep(gate, id, &kept, password) {
                tracing::warn!("the password of basicauth_credential {id} stays as Kong keeps it: {text}");
            }
        }
    })?;
    applied.upgrade_passwords_by(Box::new(move |id, kept, password| drop(sender.try_send((id, kept, password)))));
    Ok(())
}

fn keep(gate: Arc<Gate>, id: Uuid, kept: &str, password: String) -> Result<(), Failed> {
    let Some(kind) = entity::kind("basicauth_credentials") else { return Ok(()) };
    Handle(gate).change("portcullis", |writes| {
        let Some(mut row) = writes.by_id(kind, id, 0)? else { return Ok(()) };
        if row.json.get("password").and_then(Value::as_str) != Some(kept) {
            return Ok(());
        }
        row.json.insert("password".to_owned(), Value::from(password));
        hash_secrets(kind, &mut row.json, Hashing::Argon2)?;
        Ok(writes.put(kind, &row)?)
    })
}

struct Failed(String);

impl From<Unavailable> for Failed {
    fn from(error: Unavailable) -> Failed {
        Failed(error.to_string())
    }
}

impl From<Refused> for Failed {
    fn from(error: Refused) -> Failed {
        Failed(error.to_string())
    }
}

impl From<Violations> for Failed {
    fn from(found: Violations) -> Failed {
        Failed(found.message())
    }
}

impl From<Invalid> for Failed {
    fn from(invalid: Invalid) -> Failed {
        Failed(crate::kept::in_words(&invalid).join("; "))
    }
}
