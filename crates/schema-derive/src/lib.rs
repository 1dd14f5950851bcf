//! `#[derive(Schema)]`: the struct is the definition.
//!
//! Field names, doc comments, types and `#[schema(...)]` rules become a `schema::Record`. Each rule is
//! a method of `schema::Field`: `default = 1` calls `.default(json!(1))`, `between(0, 10)` calls
//! `.between(0, 10)`, `unique` calls `.unique()`, `each(len_min(1))` gives rules to the elements. The options of a
//! `#[serde(flatten)]` field are the record's own.

use proc_macro::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::{
    Attribute, Data, DeriveInput, Expr, Fields, Lit, Meta, Token, parse_macro_input, punctuated::Punctuated,
    spanned::Spanned,
};

type Tokens = proc_macro2::TokenStream;

#[proc_macro_derive(Schema, attributes(schema))]
pub fn derive_schema(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let name = &input.ident;
    let result = match &input.data {
        Data::Struct(data) => record(name, &input.attrs, &data.fields),
        Data::Enum(data) => one_of(name, &input.attrs, data),
        Data::Union(_) => Err(syn::Error::new(input.span(), "unions have no schema")),
    };
    result.unwrap_or_else(|error| error.to_compile_error()).into()
}

/// A struct becomes a record: one schema field per Rust field.
fn record(name: &syn::Ident, attrs: &[Attribute], fields: &Fields) -> syn::Result<Tokens> {
    let mut definitions = Vec::new();
    for field in fields {
        let ident = field.ident.as_ref().ok_or_else(|| syn::Error::new(field.span(), "a record has named fields"))?;
        let doc = doc_of(&field.attrs);
        if is_flattened(&field.attrs) {
            let ty = &field.ty;
            definitions.push(quote_spanned!(field.span()=> fields.extend(<#ty as ::schema::Schema>::record().fields);));
            continue;
        }
        if doc.is_empty() {
            return Err(syn::Error::new(ident.span(), "every option is documented: add a doc comment"));
        }
        let field_name = renamed(&field.attrs).unwrap_or_else(|| ident.to_string().trim_start_matches("r#").to_owned());
        let ty = &field.ty;
        let mut foreign = None;
        let mut rules = Vec::new();
        for rule in schema_args(&field.attrs)? {
            match &rule {
                Meta::NameValue(pair) if pair.path.is_ident("references") => foreign = Some(pair.value.clone()),
                rule => rules.push(call(rule)?),
            }
        }
        let start = match foreign {
            Some(entity) => quote!(::schema::Field {
                kind: ::schema::Kind::Foreign(#entity),
                ..::schema::Field::of::<#ty>(#field_name, #doc)
            }),
            None => quote!(::schema::Field::of::<#ty>(#field_name, #doc)),
        };
        definitions.push(quote_spanned!(field.span()=> fields.push(#start #(#rules)*);));
    }
    let record_doc = doc_of(attrs);
    let (mut checks, mut shorthand, mut moved) = (Vec::new(), quote!(None), quote!(&[]));
    let (mut depends, mut prefix) = (quote!(None), quote!(""));
    for meta in schema_args(attrs)? {
        match meta {
            Meta::List(list) if list.path.is_ident("check") => checks.push(list.tokens),
            Meta::NameValue(pair) if pair.path.is_ident("shorthand") => {
                let function = pair.value;
                shorthand = quote!(Some(#function));
            }
            Meta::NameValue(pair) if pair.path.is_ident("moved") => {
                let list = pair.value;
                moved = quote!(#list);
            }
            Meta::NameValue(pair) if pair.path.is_ident("depends") => {
                let value = pair.value;
                depends = quote!(Some(#value));
            }
            Meta::NameValue(pair) if pair.path.is_ident("prefix") => {
                let text = pair.value;
                prefix = quote!(#text);
            }
            other => {
                return Err(syn::Error::new(
                    other.span(),
                    "a record knows `check(...)`, `shorthand = ...`, `moved = ...`, `depends = ...` and `prefix = ...`",
                ));
            }
        }
    }
    Ok(quote! {
        impl ::schema::Schema for #name {
            fn record() -> ::schema::Record {
                let mut fields = ::std::vec::Vec::new();
                #(#definitions)*
                ::schema::Record {
                    doc: #record_doc,
                    fields,
                    checks: vec![#(#checks),*],
                    shorthand: #shorthand,
                    moved: #moved,
                    depends: #depends,
                    prefix: #prefix,
                }
            }
        }
        impl ::schema::Typed for #name {
            fn kind() -> ::schema::Kind { ::schema::Kind::Record(<#name as ::schema::Schema>::record()) }
        }
    })
}

/// Whether the options of another struct stand here as this one's own: `#[serde(flatten)]`.
fn is_flattened(attrs: &[Attribute]) -> bool {
    attrs.iter().filter(|attr| attr.path().is_ident("serde")).any(|attr| {
        let mut found = false;
        let parsed = attr.parse_nested_meta(|meta| {
            found |= meta.path.is_ident("flatten");
            Ok(())
        });
        parsed.is_ok() && found
    })
}

/// One `#[schema(...)]` rule as a method call on the field.
fn call(rule: &Meta) -> syn::Result<Tokens> {
    Ok(match rule {
        Meta::NameValue(pair) => {
            let (key, value) = (&pair.path, &pair.value);
            if key.is_ident("default") { quote!(.default(::schema::json!(#value))) } else { quote!(.#key(#value)) }
        }
        Meta::List(list) if list.path.is_ident("each") || list.path.is_ident("keys") => {
            let nested = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(list.tokens.clone())?;
            let calls = nested.iter().map(call).collect::<syn::Result<Vec<_>>>()?;
            let key = &list.path;
            quote!(.#key(|element| element #(#calls)*))
        }
        Meta::List(list) => {
            let (key, args) = (&list.path, &list.tokens);
            quote!(.#key(#args))
        }
        Meta::Path(key) => quote!(.#key()),
    })
}

/// A field-less enum becomes a string with a closed set of words.
fn one_of(name: &syn::Ident, attrs: &[Attribute], data: &syn::DataEnum) -> syn::Result<Tokens> {
    let case = attrs.iter().find_map(|attr| serde_value(attr, "rename_all"));
    let mut words = Vec::new();
    for variant in &data.variants {
        let own = variant.ident.to_string();
        let word = match (renamed(&variant.attrs), case.as_deref()) {
            (Some(word), _) => word,
            (None, Some("lowercase")) => own.to_lowercase(),
            (None, Some("UPPERCASE")) => own.to_uppercase(),
            (None, None) => own,
            (None, Some(_)) => return Err(syn::Error::new(name.span(), "rename_all is lowercase or UPPERCASE here")),
        };
        words.push(word);
    }
    Ok(quote! {
        impl ::schema::Typed for #name {
            fn kind() -> ::schema::Kind { ::schema::Kind::OneOf(&[#(#words),*]) }
        }
    })
}

/// The name that serde reads and writes, so that the schema cannot disagree with it.
fn renamed(attrs: &[Attribute]) -> Option<String> {
    attrs.iter().find_map(|attr| serde_value(attr, "rename"))
}

fn serde_value(attr: &Attribute, key: &str) -> Option<String> {
    if !attr.path().is_ident("serde") {
        return None;
    }
    let metas = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    metas.into_iter().find_map(|meta| match meta {
        Meta::NameValue(pair) if pair.path.is_ident(key) => text_of(&pair.value),
        _ => None,
    })
}

fn schema_args(attrs: &[Attribute]) -> syn::Result<Vec<Meta>> {
    let mut all = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("schema")) {
        all.extend(attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?);
    }
    Ok(all)
}

fn doc_of(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => text_of(&pair.value).map(|line| line.trim().to_owned()),
        _ => None,
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn text_of(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
