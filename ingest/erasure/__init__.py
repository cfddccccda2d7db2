"""What erasing a user does in each place that holds text: the lake, label stores, snapshots; and its proof."""
