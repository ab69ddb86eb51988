"""State on disk, in LMDB; the only code that imports lmdb.

    environment   one LMDB environment a process: kind and version of its layout
    layout        which tables a kind of store has
    transaction   what is done by key
    writer        the one thread that writes: group commit, failures that stay with their op, recovery
    reserve       room that only settling work may use
    values        checksums, and values that are longer than a page
    quarantine    where damaged rows go
    backup        proof that a copy is whole, and the way back from it

    queue         the listener's events, leases, dead letters, outbox and idempotency keys
    catalog       control's tenants, keys, jobs, nodes, secrets, peers and audit log
    artifacts     the repository's modules and schemas
    executions    the recorder's records

Every answer that says "stored" is given after the transaction is synced. Each module draws its keys.
"""
