"""Questions about a recurrence, answered with numbers and plots."""
