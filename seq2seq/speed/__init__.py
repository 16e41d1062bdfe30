"""How fast this machine trains and predicts, part by part, against plain torch, the floor and other projects."""
