"""What flows cost: Prefect, Dask, and compression over workers; a CSV and the table of docs/flows.md."""
