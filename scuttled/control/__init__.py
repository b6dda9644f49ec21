"""The daemon's end of the control protocol (docs/control.md): requests, answers, streams.

`server` reads requests and writes answers (trio); `operations` is the table of what can be asked,
and `*_operations` have a request and a function for each; all else is pure: what is loaded at once
(`bulk_load`), read (`scan`, `tally`, `watch`, `event_stream`) and waited for (`write_concern`,
`conditions`), and how fast callers may write (`backpressure`).
"""
