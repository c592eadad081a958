"""Every way in and out: files, public formats, plain tables, exports."""
