//! Exists so that cargo sees a library target; the programs are in `main.rs`.
#![no_std]
