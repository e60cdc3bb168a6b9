"""Does averaging workers more rarely lower sharpness faster, and when?"""
