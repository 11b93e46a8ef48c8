"""The policy pack: what `pulumi preview --policy-pack policies` holds a stack to."""
