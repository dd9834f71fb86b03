"""Plain Celery, as a competent person would set it up: what the control plane is compared with."""
