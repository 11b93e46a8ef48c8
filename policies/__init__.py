"""The Pulumi policy pack: `pulumi preview --policy-pack policies` checks a stack against `inferstack.policy.rules`.

It serves Pulumi's analyzer protocol and may use the pure rules, the settings of the roles and the builders of the jobs
controller; nothing imports it.
"""
